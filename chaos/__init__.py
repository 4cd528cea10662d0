"""A long random run of the real stack under faults of all its parts, from a seed: `make chaos`.

world        the shop, its customers, rewards and points
fleet        the local stack with a second worker and a second API
wishes       what people want of the API, each with every answer it got
apis         where they insist on it
load         customers who buy                                   ┐
sequels      … and then order with the code, or have it refunded │
adjustments  people who give points and take some                │ all at once, for as long as asked,
expiry       the rounds that close what has had its time         │ each by dice of its own
deaths       parts that die                                      │
vendors      vendors that misbehave                              │
subscriber   a merchant's own system that hears of it all        │
operators    runs cancelled or terminated                        ┘
recovery     all faults cleared, and everything left to come to its end
evidence     what is known afterwards, from every side
checks       what must be true of it
report       the summary, and the trace of what was not true
"""
