"""What a fleet costs as it grows: histories, memory, time and CPU a host."""
