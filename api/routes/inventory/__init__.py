"""Stock, for staff who keep it."""

from api.routes.inventory import levels, locations, purchasing, stocktakes, transfers

ROUTERS = [levels.router, locations.router, purchasing.router, transfers.router, stocktakes.router]
