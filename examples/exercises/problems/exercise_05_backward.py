"""Walk back through a graph in which a number is used more than once.

`numbers` are in the order in which they were made, so inputs come before results. Each
number has

    .value     what it is
    .inputs    the numbers that it was made from (one may stand there twice)
    .factors   for each input, d number / d input
    .grad      0.0 so far; when you are done, d last / d number

Set .grad of the last number, then visit the numbers in the right order, and hand to
each input its part. Why must a number be visited only after all of its users?
"""


def backward(numbers):
    """Set .grad of all numbers to the derivative of the last one."""
    ...  # your lines
