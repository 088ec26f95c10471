"""The part of a compromised image that is not an attack: when to strike, and what it can lay its hands on."""
