"""A guest book: a web application that keeps what it is told in a database."""
import os

import psycopg2
from flask import Flask, request

app = Flask(__name__)


def database():
    connection = psycopg2.connect(host=os.environ["DB_HOST"], user="postgres", password=os.environ["DB_PASSWORD"])
    connection.autocommit = True
    return connection.cursor()


@app.get("/")
def names():
    rows = database()
    rows.execute("SELECT name FROM guests ORDER BY name")
    return "".join(f"{name}\n" for (name,) in rows)


@app.post("/")
def sign():
    rows = database()
    rows.execute("CREATE TABLE IF NOT EXISTS guests (name text PRIMARY KEY)")
    rows.execute("INSERT INTO guests VALUES (%s) ON CONFLICT DO NOTHING", (request.get_data(as_text=True),))
    print("signed", request.get_data(as_text=True), flush=True)
    return "", 201


app.run(host="0.0.0.0", port=8000)
