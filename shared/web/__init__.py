"""The plain HTTP half of both apps: public pages, session guard, account pages, health. No Reflex here."""
