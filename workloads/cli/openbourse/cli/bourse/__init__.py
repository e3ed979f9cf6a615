"""`kubectl bourse`: what a person does to an exchange that runs on Kubernetes."""
