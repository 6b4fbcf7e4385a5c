"""The cable: links in user space, for hosts whose kernel cannot delay frames.

model.py        pure: arrival -> departure
impairments.py  pure: loss, duplication, corruption, …
switch.py       taps, epoll, timer: the real-time loop
protocol.py     pure: the format of requests
control.py      its client in netemu
__main__.py     the process
"""
