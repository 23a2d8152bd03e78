"""The API: one module of specs a domain, and how a spec file is read."""
