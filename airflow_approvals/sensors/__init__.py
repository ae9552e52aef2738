"""The ApprovalSensor."""
