"""How requests are served: stages of one deletion, pools, requests one after the other, and both models shown."""
