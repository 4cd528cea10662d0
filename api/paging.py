"""Query parameters and meta data that all lists share."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.documents import ListMeta
from db.lists import Page


class ListQuery(BaseModel):
    """Query parameters of a list. Each list adds its `sort` and filters. Unknown parameters are ignored."""

    number: Annotated[int, Field(alias="page[number]", ge=1, description="Page number, from 1.")] = 1
    size: Annotated[int, Field(alias="page[size]", ge=1, le=100, description="Resources per page.")] = 20
    sort: Any

    def page(self) -> Page:
        """The page as queries take it."""
        return Page(
            number=self.number,
            size=self.size,
            sort=self.sort.removeprefix("-"),
            descending=self.sort.startswith("-"),
        )

    def meta(self, total: int) -> ListMeta:
        """`meta` of the response, for a list of `total` resources."""
        return ListMeta(total=total, page=self.number, per_page=self.size, total_pages=-(-total // self.size))
