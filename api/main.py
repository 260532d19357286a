"""The entry point for ASGI servers: `uvicorn api.main:app --factory`, configured by the environment."""

from fastapi import FastAPI

from api.app import create_app, freeze_startup_objects
from services.logs import configure_logs
from services.settings import Settings


def app() -> FastAPI:
    """The application as the environment describes it. Refuses unsafe settings."""
    settings = Settings()
    configure_logs(settings.log_level, style="json")
    application = create_app(settings)
    freeze_startup_objects()
    return application
