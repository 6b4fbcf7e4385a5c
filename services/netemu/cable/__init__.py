"""The cable: links in user space, for hosts whose kernel cannot delay frames.

model.py     pure: arrival -> departure          fates.py     pure: loss, duplication, corruption, …
switch.py    taps, epoll, timer: the real-time loop
control.py   what netemu says to it and hears    __main__.py  the process
"""
