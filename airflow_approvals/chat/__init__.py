"""What people press and fill in, in Slack and in Teams: taken down, judged, answered, and sent on."""
