"""Sample pictures and the program that painted them."""
