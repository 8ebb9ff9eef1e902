"""What the platform adds to Airflow's UI and API: `plugin` names it to Airflow, `api` answers, `pages.js` shows."""

#: Where the API is, below the api-server's address.
PREFIX = "/airflow-platform"
