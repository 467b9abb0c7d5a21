"""The views of what monitors watch: alerts, deliveries, schedules, firings and totals."""
