"""Work that is asked for over the network: what may be asked, and which functions do it. A request here is what a `pp` command is there."""
