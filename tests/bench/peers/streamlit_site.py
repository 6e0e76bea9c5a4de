"""Streamlit as an ASGI app: its script runs anew for every event."""

from pathlib import Path

import streamlit as st

app = st.App(Path(__file__).with_name("streamlit_page.py"))
