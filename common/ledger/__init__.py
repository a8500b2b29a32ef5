"""What a hospital has released, recorded before it leaves."""
