"""Builders of the OS images, from Debian's packages: `python -m deploy.images NAME` prints the folder of the image.

An image is a root file tree below IMAGES_DIR, named by the hash of its recipe, shared by every instance and clone.
A recipe is a folder here: `packages` (and the variant of mmdebstrap) and `customize`, run on the finished tree.
"""
