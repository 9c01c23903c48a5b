"""How celeriac's costs grow: with the backlog, the queues, the payload, the children, what is delayed and what is kept."""
