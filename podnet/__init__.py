"""podnet: container networking on real Linux hosts over SSH, with no daemon and no agent."""
