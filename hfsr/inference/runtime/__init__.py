"""What the machine offers: number formats, devices and memory."""
