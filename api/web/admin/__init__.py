"""The admin at `/admin`: plain pages over the services, without scripts (`docs/decisions/0015-admin.md`)."""
