"""What tests share: projects as users write them, real workers, gates at which tasks wait."""
