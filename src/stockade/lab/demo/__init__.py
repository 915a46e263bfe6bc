"""Recipes played with real kubectl in a lab, as a person would type them."""
