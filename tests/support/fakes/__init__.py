"""One fake of each service, for the tests of the others. tests/service/test_fakes.py holds fake and real to the
same."""
