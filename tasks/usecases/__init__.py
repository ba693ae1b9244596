"""What people and programs can ask for: `usecase(services, request) → result`, without a terminal or HTTP."""
