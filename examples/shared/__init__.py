"""What the examples share: pictures and mails without tasks, a mail server to try them on, and workers to start."""
