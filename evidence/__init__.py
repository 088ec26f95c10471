"""Claims over what happened, statistics and grades. Nothing here is believed by the device."""
