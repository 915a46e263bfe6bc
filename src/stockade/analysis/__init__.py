"""Questions over compiled policies. Pure functions only."""
