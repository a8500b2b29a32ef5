"""What the pages of coordinator and hospital share: sessions, checks of every request, templates, live updates."""
