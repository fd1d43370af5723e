"""Every pod to every pod, by ping."""
