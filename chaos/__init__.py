"""A long random run of the real stack under faults of all its parts, from a seed: `make chaos`.

world      the shop, its customers and rewards
fleet      the local stack with a second worker and a second API
load       customers who buy            ┐
deaths     parts that die               │ all at once, for as long as asked,
vendors    vendors that misbehave       │ each by dice of its own
operators  runs cancelled or terminated ┘
recovery   all faults cleared, and everything left to come to its end
evidence   what is known afterwards, from every side
checks     what must be true of it
report     the summary, and the trace of what was not true
"""
