"""The cable: links in user space, for hosts whose kernel cannot delay frames.

frames.py       the system calls of frames
model.py        pure: arrival -> departure
impairments.py  pure: loss, duplication, corruption, …
trace.py        pure: bytes that may pass, delay and loss over time, from the file of a trace
fairness.py     pure: whose turn it is, shares of time and memory
idle.py         idle processors of the host, which owners may use
lanes.py        ports, their two directions, the accounts of their owners
switch.py       the real-time loop
timer.py        what wakes it
protocol.py     pure: the format of requests
control.py      its client in netemu
engine.py       machine code, where it was built of these modules
process.py      the process
__main__.py     starts it
"""
