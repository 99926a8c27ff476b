"""A Streamlit app: a heading, a button that counts, and a place for files."""

import streamlit as st

st.title("Of test")
st.session_state.setdefault("pressed", 0)
if st.button("Press"):
    st.session_state.pressed += 1
st.write(f"Pressed {st.session_state.pressed} times")
file = st.file_uploader("File")
if file:
    st.write(f"Given {len(file.getvalue())} bytes")
