"""The script. A static table, which is lighter than the editable grid."""

import streamlit as st

from tests.bench.peers import table

st.title("Members")
query = st.text_input("Search members")
rows = table.rows(st.context.cookies.get(table.COOKIE, ""), query)
st.table([dict(zip(table.HEADINGS, row, strict=True)) for row in rows])
