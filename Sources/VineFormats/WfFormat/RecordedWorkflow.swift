package struct RecordedWorkflow: Sendable {}
