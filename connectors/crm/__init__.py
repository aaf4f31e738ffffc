"""Rows of CRMs as touchpoints: CSV files (`elo import`) and change events of databases (`elo cdc`)."""
