return { now, decimal(meant) }
