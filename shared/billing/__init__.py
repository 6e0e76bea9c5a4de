"""What is owed, and what follows from it. The provider decides about payment; our database decides about access."""
