"""What speaks to the outside: links, services, figures, engines, alerts, backups. Nothing above knows their libraries."""
