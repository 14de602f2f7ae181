"""FastAPI as a proxy that compresses: compressing.py PORT UPSTREAM"""

from fastapi.middleware.gzip import GZipMiddleware
from relay import app, serve

proxy = app(lambda response: response.aiter_raw())
proxy.add_middleware(GZipMiddleware)
serve(proxy)
