"""Everything of both apps that is plain HTTP: doors, guard, account pages, health. No Reflex here."""
