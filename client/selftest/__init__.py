"""The part of the audit that fits a site: `fedsynth site selftest` on the hospital's own installation."""
