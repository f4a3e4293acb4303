"""The Streamlit app: frame, session, widgets, displays."""
