"""From a lease to a `Commit`: what one run of a task does and causes, without touching a store.

Workers, eager mode and tests run tasks through this package; they differ in where the lease comes from, where the commit
goes, and in how the function is called (`calls.Caller`).
"""
