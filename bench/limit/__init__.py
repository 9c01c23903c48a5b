"""What can be had on Redis at all, by hand: the least that a queue with leases, fencing and results must do."""
