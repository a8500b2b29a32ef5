"""What travels between hospitals and the coordinator: messages, their bytes and signatures."""
