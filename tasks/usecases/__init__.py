"""What people and programs can request: `usecase(services, request) → result`, without a terminal or HTTP."""
